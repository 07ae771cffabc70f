// Asks the service of this namespace who it is, every 20 ms, until a line comes on standard input; then tells how long
// each answer took, in ms, as JSON.
import { createInterface } from 'node:readline';
import { requestService } from '../../dist/service/index.js';

let ending = false;
createInterface({ input: process.stdin }).on('line', () => {
  ending = true;
});
await requestService();
console.log('ready');
const times = [];
while (!ending) {
  const began = performance.now();
  const service = await requestService();
  times.push(service ? performance.now() - began : Number.MAX_VALUE);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
console.log(JSON.stringify(times));
process.exit();
