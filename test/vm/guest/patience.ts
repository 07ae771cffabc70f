// Before each file: programs get the time here that all else gets.

import { Program } from '../../../src/lab/index.ts';
import { PATIENCE } from '../../kernel/soon.ts';

Program.patience = 10_000 * PATIENCE;
