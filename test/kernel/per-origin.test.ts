// Shown on the machine's own kernel (6.18), which has the datapaths `bpf` and `map`; `ct` and `mark` are in
// test/vm/guest/per-origin.test.ts.

import { perOrigin } from './per-origin.ts';

perOrigin('bpf');
perOrigin('map');
