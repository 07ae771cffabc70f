// Shown on Linux 6.1.

import { lifecycle } from '../../kernel/datapath-lifecycle.ts';
import { turn } from './turn.ts';

lifecycle(turn('ct', 'mark'));
