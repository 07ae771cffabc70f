import type { LiveExplanations } from '../service/index.ts';
import { note, print, printJson } from './output.ts';

/** Prints why flows of the running service are where they are; of more than it explains, how many there are. */
export function showExplained({ matched, flows }: LiveExplanations, json: boolean): void {
  if (json) printJson(flows);
  else print(flows.map(({ text }) => text).join('\n\n'));
  if (matched > flows.length) note(`the first ${flows.length} of ${matched} flows`);
}
