// Each kernel with another datapath: 6.1 with `ct`, 6.12 with `mark`. Shown on both.

import { lifecycle } from '../../kernel/datapath-lifecycle.ts';
import { turn } from './turn.ts';

for (const datapath of turn(['ct'], ['mark'])) lifecycle(datapath);
