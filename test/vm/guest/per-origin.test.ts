// Shown on Linux 6.1.

import { perOrigin } from '../../kernel/per-origin.ts';

perOrigin('ct');
perOrigin('mark');
