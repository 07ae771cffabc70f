// Programs that Headgate runs. Any kernel.

import { expect, it } from 'vitest';
import { execute } from '../../src/kernel/index.ts';

it('a program is run in a session of its own, where no Ctrl-C of ours reaches it', async () => {
  // proc_pid_stat(5): pid, comm, state, ppid, pgrp, session.
  const { status, stdout } = await execute([
    'sh',
    '-c',
    'read -r pid _ _ _ pgrp session _ </proc/$$/stat; echo $pid $pgrp $session',
  ]);
  const [pid, pgrp, session] = stdout.trim().split(' ').map(Number);
  expect(status).toBe(0);
  expect(pid).toBeGreaterThan(0);
  expect([pgrp, session]).toEqual([pid, pid]);
});

it('a program that a signal ended says so', async () => {
  const { status, stderr } = await execute(['sh', '-c', 'kill -TERM $$']);
  expect([status, stderr]).toEqual([-1, 'it was ended by SIGTERM']);
});
