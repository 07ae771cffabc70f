// Goes before a program (node --import): profiles its main thread from SIGUSR2 to SIGTERM, and writes that to the file $PROFILE.
// Not --cpu-prof: beside a start with its child processes its signal now and then ends the program.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

const session = new Session();
process.once('SIGUSR2', () => {
  session.connect();
  session.post('Profiler.enable');
  // Seldom enough that a program at rest is seen to rest (bench-lab.ts).
  session.post('Profiler.setSamplingInterval', { interval: 5000 });
  session.post('Profiler.start');
});
process.once('SIGTERM', () =>
  session.post('Profiler.stop', (_, { profile }) => writeFileSync(process.env.PROFILE, JSON.stringify(profile))),
);
