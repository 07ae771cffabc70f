#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { addCheckCommand } from './check.ts';
import { addCompileCommand } from './compile.ts';
import { addDemoCommand } from './demo.ts';
import { addDownCommand } from './down.ts';
import { addEventsCommand } from './events.ts';
import { addExplainCommand } from './explain.ts';
import { addFmtCommand } from './fmt.ts';
import { addInitCommand } from './init.ts';
import { addLspCommand } from './lsp.ts';
import { report } from './output.ts';
import { addStatusCommand } from './status.ts';
import { addUpCommand } from './up.ts';
import { VERSION } from './version.ts';

const program = new Command('headgate')
  .description(
    'Puts arriving packets into queues by who opened their connection: yours first, strangers take what is left.',
  )
  .version(VERSION)
  .showHelpAfterError('(--help shows how it is called)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Examples:
  headgate demo                                              see what it does, in a small internet of its own
  headgate up --device eth0 --download 90mbit --upload 18mbit
  headgate status                                            in another terminal

Exit status:
  0  done          1  the answer is no: mistakes in the policy, the demo did not pass
  2  wrong usage   3  something is missing: root, a tool, a device, a kernel feature
  4  the place is taken by somebody else            5  the kernel refused; what was done is undone
  6  headgate is not running`,
  );

addUpCommand(program);
addDownCommand(program);
addStatusCommand(program);
addEventsCommand(program);
addCheckCommand(program);
addFmtCommand(program);
addExplainCommand(program);
addCompileCommand(program);
addInitCommand(program);
addLspCommand(program);
addDemoCommand(program);

// A reader such as head(1) that goes away is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 70));

const json = process.argv.includes('--json');
// Wrong usage in a pipe is answered in JSON, too.
if (json) for (const command of [program, ...program.commands]) command.configureOutput({ writeErr: () => {} });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) process.exitCode = report(error, json);
  else if (error.exitCode === 0) process.exitCode = 0;
  else {
    const problem = error.message.replace(/^error: /, '');
    const command = program.commands.find((c) => process.argv.includes(c.name()))?.name() ?? '';
    process.exitCode = json ? report(new HeadgateError('HG_USAGE', { problem, command }), json) : 2;
  }
}
