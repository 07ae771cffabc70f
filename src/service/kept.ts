import type { Scene } from '../apply/index.ts';

/** What a look came to: nothing was amiss; it was put right; or it was not, as was said, and another look is worth while. */
export type Settled = 'whole' | 'changed' | 'again';

/** What is looked at, and put right where it is not as it should be. */
export interface Kept {
  settle(scene: Scene): Promise<Settled>;
}
