// Tells what `headgate status --json` would, once for each line of standard input: where the machine is emulated, a
// start of node takes seconds.
import { createInterface } from 'node:readline';
import { getStatus, requestService } from '../../dist/service/index.js';

createInterface({ input: process.stdin }).on('line', () => {
  requestService()
    .then(getStatus)
    .then(
      (status) => console.log(JSON.stringify({ status })),
      (error) => console.log(JSON.stringify({ error: String(error) })),
    );
});
