// Shown on Linux 6.1.

import { perOrigin } from '../../kernel/per-origin.ts';
import { turn } from './turn.ts';

perOrigin(turn('mark', 'ct'));
