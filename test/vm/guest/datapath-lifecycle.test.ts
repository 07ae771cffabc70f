// `ct` on 6.1, `mark` on 6.12: both are chains of tc's own classifiers (src/shape/datapath-chains.ts), so some of what takes
// long is shown with one of them. Shown on both kernels.

import { type LifePart, lifecycle } from '../../kernel/datapath-lifecycle.ts';
import { turn } from './turn.ts';

const CT: readonly LifePart[] = ['devices', 'reload', 'kept', 'guarded', 'hung', 'foreign'];
const MARK: readonly LifePart[] = ['devices', 'reload', 'guarded', 'hung', 'again', 'renamed'];

for (const [datapath, parts] of turn([['ct', CT] as const], [['mark', MARK] as const])) lifecycle(datapath, parts);
