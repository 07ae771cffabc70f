import type { Rule } from '../language/index.ts';
import type { FlowView } from './flow-view.ts';

/** Carries the effects of live rules on packets, `police` and `mirror`, into the kernel. */
export interface EffectSink {
  /** The flow that the view stands on meets the rule's effects from now on. */
  add(flow: FlowView, rule: Rule): void;
  /** And from now on no more. */
  del(flow: FlowView, rule: Rule): void;
  /** No flow meets any: another policy's rules have taken their place. */
  clear(): void;
  flush(): void;
}
