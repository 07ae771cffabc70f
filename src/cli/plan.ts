import { gzipSync } from 'node:zlib';
import { type Command, Option } from 'commander';
import { overrideLink } from '../language/index.ts';
import { DEFAULT_MARK_FIELD } from '../model/index.ts';
import {
  DATAPATHS,
  type DatapathName,
  formatScript,
  planOperations,
  SCRIPT_FOLDER,
  type ScriptFile,
} from '../shape/index.ts';
import { rateOption } from './options.ts';
import { note } from './output.ts';
import { loadPolicy } from './policy-file.ts';

interface PlanOptions {
  script: true;
  datapath: DatapathName;
  device?: string;
  download?: string;
  upload?: string;
}

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .description('print what up would do, as a shell script that does it by hand on a box without headgate')
    .argument('<file>', 'policy; - reads standard input')
    .addOption(new Option('--script', 'a POSIX shell script of ip, tc and nft commands').makeOptionMandatory())
    .addOption(new Option('--datapath <name>', 'how packets find their class').choices([...DATAPATHS]).default('bpf'))
    .option('--device <device>', 'network device of the link, in place of what the policy says')
    .option('--download <rate>', 'rate of what arrives')
    .option('--upload <rate>', 'rate of what leaves')
    .addHelpText(
      'after',
      `
Examples:
  headgate plan my.gate --script > my.sh     on the box: sh my.sh, and sh my.sh down
  headgate plan my.gate --script --datapath ct | less

The classifier of datapath bpf is in the script, for processors of this machine's byte order. As root the leaves
are those that this machine's kernel has; else any. Nothing is changed here.
Exit status: 0 printed; 1 mistakes in the policy; 2 wrong usage; 3 what the policy wants cannot be had`,
    )
    .action(async (file: string, { datapath, ...options }: PlanOptions) => {
      const policy = overrideLink(await loadPolicy(file), {
        device: options.device,
        download: rateOption('plan', '--download', options.download),
        upload: rateOption('plan', '--upload', options.upload),
      });
      const { prepareDatapath, shapeHere } = await import('../service/index.ts');
      const shapes = await shapeHere(policy);
      const files: ScriptFile[] = [];
      const prepared = await prepareDatapath(datapath, policy, DEFAULT_MARK_FIELD, 0, async (contents) => {
        for (const [name, bytes] of Object.entries(contents))
          files.push({ name, content: gzipSync(bytes).toString('base64') });
        return Object.fromEntries(Object.keys(contents).map((name) => [name, `${SCRIPT_FOLDER}/${name}`]));
      });
      const live = policy.rules.filter(({ tier }) => tier.kind === 'live');
      for (const { name } of live) note(`rule ${name} is live: it needs a running headgate, and is not in the script`);
      const about = [
        `The policy ${policy.file} by hand, datapath ${datapath}. Written by headgate plan --script.`,
        'Needs root, ip, tc and nft. The devices must have no qdisc, ingress filter or netdev chain of somebody else.',
        ...live.map(({ name }) => `Rule ${name} is live and not in here: headgate up decides it.`),
        'Nobody watches: delete or set down no ifb before `down`, or what arrives is lost.',
      ];
      process.stdout.write(formatScript(about, planOperations(policy, shapes, prepared.datapath), files));
    });
}
