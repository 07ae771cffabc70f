#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { report } from './output.ts';
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
  0  done          1  the answer is no: mistakes in the policy, not confirmed, the demo did not pass
  2  wrong usage   3  something is missing: root, a tool, a device, a kernel feature
  4  the place is taken by somebody else            5  the kernel refused; what was done is undone
  6  headgate is not running`,
  );

/** In the order of the help. Each brings the rooms that it needs, so one that was named is loaded alone: `check` must be quick. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  up: async () => (await import('./up.ts')).addUpCommand,
  down: async () => (await import('./down.ts')).addDownCommand,
  recover: async () => (await import('./recover.ts')).addRecoverCommand,
  reload: async () => (await import('./reload.ts')).addReloadCommand,
  confirm: async () => (await import('./confirm.ts')).addConfirmCommand,
  status: async () => (await import('./status.ts')).addStatusCommand,
  events: async () => (await import('./events.ts')).addEventsCommand,
  top: async () => (await import('./top.ts')).addTopCommand,
  flows: async () => (await import('./flows.ts')).addFlowsCommand,
  why: async () => (await import('./why.ts')).addWhyCommand,
  web: async () => (await import('./web.ts')).addWebCommand,
  metrics: async () => (await import('./metrics.ts')).addMetricsCommand,
  record: async () => (await import('./record.ts')).addRecordCommand,
  replay: async () => (await import('./replay.ts')).addReplayCommand,
  tap: async () => (await import('./tap.ts')).addTapCommand,
  capture: async () => (await import('./capture.ts')).addCaptureCommand,
  check: async () => (await import('./check.ts')).addCheckCommand,
  fmt: async () => (await import('./fmt.ts')).addFmtCommand,
  explain: async () => (await import('./explain.ts')).addExplainCommand,
  plan: async () => (await import('./plan.ts')).addPlanCommand,
  compile: async () => (await import('./compile.ts')).addCompileCommand,
  doctor: async () => (await import('./doctor.ts')).addDoctorCommand,
  init: async () => (await import('./init.ts')).addInitCommand,
  lsp: async () => (await import('./lsp.ts')).addLspCommand,
  demo: async () => (await import('./demo.ts')).addDemoCommand,
};
const named = process.argv[2] ?? '';
for (const load of Object.hasOwn(COMMANDS, named) ? [COMMANDS[named]!] : Object.values(COMMANDS))
  (await load())(program);

// A reader such as head(1) that goes away is no error, and changes no answer: the command ends as it would.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.exitCode = report(
    new HeadgateError('HG_WRITE', { file: 'standard output', problem: error.code ?? error.message }),
    false,
  );
});

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
    process.exitCode = json
      ? report(new HeadgateError('HG_USAGE', { problem, command: Object.hasOwn(COMMANDS, named) ? named : '' }), json)
      : 2;
  }
}
