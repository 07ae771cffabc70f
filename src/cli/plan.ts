import { gzipSync } from 'node:zlib';
import { type Command, Option } from 'commander';
import { ensureRoot, getCapabilities } from '../kernel/index.ts';
import { overrideLink, type Policy } from '../language/index.ts';
import { CAPABILITY_NAMES, type Capabilities, DEFAULT_MARK_FIELD } from '../model/index.ts';
import type { Change, WriteFiles } from '../service/index.ts';
import {
  DATAPATHS,
  type DatapathName,
  ensureCreates,
  formatDetail,
  formatScript,
  planOperations,
  qdiscsOf,
  SCRIPT_FOLDER,
  type ScriptFile,
} from '../shape/index.ts';
import { rateOption } from './options.ts';
import { note, print, printJson } from './output.ts';
import { loadPolicy } from './policy-file.ts';

interface PlanOptions {
  script?: boolean;
  json?: boolean;
  datapath?: DatapathName;
  device?: string;
  download?: string;
  upload?: string;
}

/** A kernel that has everything, as those of distributions do. */
const STOCK: Capabilities = {
  release: 'any',
  time: 0,
  findings: Object.fromEntries(CAPABILITY_NAMES.map((name) => [name, { answer: 'yes' }])) as Capabilities['findings'],
};

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .description('print what up or reload would change here, and what traffic that touches; nothing is changed')
    .argument('<file>', 'policy; - reads standard input')
    .addOption(
      new Option(
        '--script',
        'print a POSIX shell script of ip, tc and nft commands instead, which does it all by hand on a box without headgate',
      ).conflicts('json'),
    )
    .option(
      '--json',
      'print one JSON object: {datapath, changes: [{action, about, touches, details}], differences, anew, obstacles, confirm}',
    )
    .addOption(
      new Option(
        '--datapath <name>',
        'how packets find their class (default: that of the running headgate, else the best that works here)',
      ).choices([...DATAPATHS]),
    )
    .option('--device <device>', 'network device of the link, in place of what the policy says')
    .option('--download <rate>', 'rate of what arrives')
    .option('--upload <rate>', 'rate of what leaves')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate plan my.gate                 + is added, ~ changed in place, = replaced, - removed, ! in the way
  headgate plan my.gate --script > my.sh     on the box: sh my.sh, and sh my.sh down
  headgate plan my.gate --script --datapath ct | less

The script is for a kernel like this machine's, which root may ask; else for one that has everything. With datapath
bpf the classifier is in it, for this machine's byte order. Nothing is changed here.
Exit status: 0 nothing to do, or the script is printed; 2 there are changes, or wrong usage (then nothing is printed); 1 mistakes in the policy; 3 what the policy wants cannot be had; 4 others use its bits of the mark; 5 the kernel refuses`,
    )
    .action(async (file: string, options: PlanOptions) => {
      const policy = overrideLink(await loadPolicy(file), {
        device: options.device,
        download: rateOption('plan', '--download', options.download),
        upload: rateOption('plan', '--upload', options.upload),
      });
      if (!options.script) return showPlan(policy, options);
      const { bestDatapath, prepareDatapath, shapeHere } = await import('../service/index.ts');
      const capabilities = process.geteuid?.() === 0 ? await getCapabilities() : STOCK;
      const shapes = await shapeHere(policy, qdiscsOf(capabilities));
      const datapath = options.datapath ?? bestDatapath(capabilities, shapes);
      for (const shape of shapes) ensureCreates(shape, datapath);
      const files: ScriptFile[] = [];
      const write: WriteFiles = async (contents) => {
        for (const [name, bytes] of Object.entries(contents))
          files.push({ name, content: gzipSync(bytes).toString('base64') });
        return Object.fromEntries(Object.keys(contents).map((name) => [name, `${SCRIPT_FOLDER}/${name}`]));
      };
      const prepared = await prepareDatapath(
        datapath,
        policy,
        policy.marks ?? DEFAULT_MARK_FIELD,
        0,
        capabilities,
        write,
      );
      const live = policy.rules.filter(({ tier }) => tier.kind === 'live');
      for (const { name } of live) note(`rule ${name} is live: it needs a running headgate, and is not in the script`);
      const about = [
        `The policy ${policy.file} by hand, datapath ${datapath}. Written by headgate plan --script.`,
        'Needs root, ip, tc and nft. The devices must have no qdisc, ingress filter or netdev chain of somebody else.',
        ...live.map(({ name }) => `Rule ${name} is live and not in here: headgate up decides it.`),
        'Nobody watches: delete or set down no ifb before `down`, or what arrives is lost.',
      ];
      const operations = planOperations(policy, shapes, prepared.datapath);
      const creates = shapes.some((shape) => shape.creates);
      process.stdout.write(formatScript(about, operations, files, creates));
    });
}

async function showPlan(policy: Policy, { datapath, json }: PlanOptions): Promise<void> {
  ensureRoot('reading qdiscs and filters');
  const { makePlan } = await import('../service/index.ts');
  const plan = await makePlan(policy, datapath);
  if (plan.changes.length > 0) process.exitCode = 2;
  if (json) return printJson(plan);
  const { confirm } = plan;
  if (confirm)
    print(
      `${confirm.what === 'up' ? 'An up' : 'A reload'} waits to be confirmed, until ${confirm.until}: this is from what it made, and comes after that.\n`,
    );
  for (const obstacle of plan.obstacles) print(`! ${obstacle}`);
  if (plan.changes.length === 0 && plan.obstacles.length > 0) return;
  if (plan.changes.length === 0) return print(`nothing to do: the kernel has what ${policy.file} wants`);
  if (plan.anew !== undefined) print(`What is there is taken down first, and made anew: ${plan.anew}.\n`);
  for (const { action, about, touches, details = [] } of plan.changes) {
    print(`${SIGNS[action]} ${about}`);
    for (const detail of details) print(`    ${formatDetail(detail)}`);
    if (touches !== 'none') print(`    traffic: ${touches}`);
  }
  const of = (action: Change['action']) => plan.changes.filter((change) => change.action === action).length;
  print(
    `\n${of('add')} to add, ${of('change')} to change in place, ${of('replace')} to replace, ${of('remove')} to remove; datapath ${plan.datapath}`,
  );
}

const SIGNS = { add: '+', change: '~', replace: '=', remove: '-' } as const;
