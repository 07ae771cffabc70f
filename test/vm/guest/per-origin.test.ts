// Each kernel with another datapath: 6.1 with `mark`, 6.12 with `ct`. Shown on both.

import { perOrigin } from '../../kernel/per-origin.ts';
import { turn } from './turn.ts';

for (const datapath of turn(['mark'], ['ct'])) perOrigin(datapath);
