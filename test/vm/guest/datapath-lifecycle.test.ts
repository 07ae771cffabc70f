// Shown on Linux 6.1.

import { lifecycle } from '../../kernel/datapath-lifecycle.ts';

lifecycle('ct');
lifecycle('mark');
