import { gzipSync } from 'node:zlib';
import { type Command, Option } from 'commander';
import { getCapabilities } from '../kernel/index.ts';
import { overrideLink } from '../language/index.ts';
import { CAPABILITY_NAMES, type Capabilities, DEFAULT_MARK_FIELD } from '../model/index.ts';
import type { WriteFiles } from '../service/index.ts';
import {
  DATAPATHS,
  type DatapathName,
  ensureCreates,
  formatScript,
  planOperations,
  qdiscsOf,
  SCRIPT_FOLDER,
  type ScriptFile,
} from '../shape/index.ts';
import { rateOption } from './options.ts';
import { note } from './output.ts';
import { loadPolicy } from './policy-file.ts';

interface PlanOptions {
  script: true;
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
    .description('print what up would do, as a shell script that does it by hand on a box without headgate')
    .argument('<file>', 'policy; - reads standard input')
    .addOption(new Option('--script', 'a POSIX shell script of ip, tc and nft commands').makeOptionMandatory())
    .addOption(
      new Option('--datapath <name>', 'how packets find their class (default: the best that works here)').choices([
        ...DATAPATHS,
      ]),
    )
    .option('--device <device>', 'network device of the link, in place of what the policy says')
    .option('--download <rate>', 'rate of what arrives')
    .option('--upload <rate>', 'rate of what leaves')
    .addHelpText(
      'after',
      `
Examples:
  headgate plan my.gate --script > my.sh     on the box: sh my.sh, and sh my.sh down
  headgate plan my.gate --script --datapath ct | less

The script is for a kernel like this machine's, which root may ask; else for one that has everything. With datapath
bpf the classifier is in it, for this machine's byte order. Nothing is changed here.
Exit status: 0 printed; 1 mistakes in the policy; 2 wrong usage; 3 what the policy wants cannot be had`,
    )
    .action(async (file: string, options: PlanOptions) => {
      const policy = overrideLink(await loadPolicy(file), {
        device: options.device,
        download: rateOption('plan', '--download', options.download),
        upload: rateOption('plan', '--upload', options.upload),
      });
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
