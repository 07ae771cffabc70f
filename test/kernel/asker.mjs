// Asks the service of this namespace who it is, every 20 ms, until its standard input ends; then tells how long each answer
// took, in ms, as JSON.
import { requestService } from '../../dist/service/index.js';

let ending = false;
process.stdin.resume().on('end', () => {
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
