// Has the clock of the wall be set for the process that imports it (node --import), as far as JavaScript reads it: at SIGUSR2 it is
// ahead by the ms that the file HEADGATE_AHEAD says. The machine's own clock is everybody's, and stays.

import { readFileSync } from 'node:fs';

const Real = Date;
let ahead = 0;
globalThis.Date = class extends Real {
  constructor(...args) {
    if (args.length === 0) super(Real.now() + ahead);
    else super(...args);
  }

  static now() {
    return Real.now() + ahead;
  }
};
process.on('SIGUSR2', () => {
  ahead = Number(readFileSync(process.env.HEADGATE_AHEAD, 'utf8'));
});
