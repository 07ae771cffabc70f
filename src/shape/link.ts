import type { Argv, Command } from '../model/index.ts';
import {
  DOWNLOAD_MAJOR,
  FILTER_PREF,
  formatAlias,
  formatHandle,
  ifbName,
  LEAF_MAJOR,
  LINK_MINOR,
  UPLOAD_MAJOR,
} from './names.ts';
import type { Operation } from './operation.ts';
import { burstOf, type LeafQdisc, type Tree } from './tree.ts';

/** What one link of the policy is to become in the kernel. A direction without a tree is left as it is. */
export interface LinkShape {
  readonly link: string;
  readonly device: string;
  readonly download?: Tree | undefined;
  readonly upload?: Tree | undefined;
}

/** What building a link needs to know of the machine. */
export interface LinkSite {
  /** Path of the classifier's object, configured for what arrives. */
  readonly ingressObject: string;
  /** The same for what leaves. */
  readonly egressObject: string;
  /** The device has a clsact or ingress qdisc already; it is used, and stays. */
  readonly ingressHook: boolean;
}

/**
 * The operations that build a link's part, in the one safe order: the ifb, its tree and the ifb up before any
 * filter sends packets there. The redirect comes last.
 */
export function linkOperations(shape: LinkShape, site: LinkSite): Operation[] {
  return [
    ...(shape.upload ? uploadOperations(shape.device, shape.upload, site) : []),
    ...(shape.download ? downloadOperations(shape, shape.download, site) : []),
  ];
}

/** The redirect alone: put back when the ifb has come up again. */
export function redirectOperation(device: string, ifb: string, site: LinkSite): Operation {
  return {
    about: `redirect what arrives on ${device} to ${ifb}`,
    command: tc(
      'filter',
      'replace',
      'dev',
      device,
      'ingress',
      'protocol',
      'all',
      'pref',
      `${FILTER_PREF}`,
      'handle',
      '1',
      'bpf',
      'object-file',
      site.ingressObject,
      'section',
      'ingress',
      'action',
      'mirred',
      'egress',
      'redirect',
      'dev',
      ifb,
    ),
    undo: removeRedirect(device),
  };
}

/** Lets arriving packets pass untouched again. */
export const removeRedirect = (device: string): Command =>
  tc('filter', 'del', 'dev', device, 'ingress', 'pref', `${FILTER_PREF}`);
/** Names the handle, so that a root qdisc that somebody else put there since is not removed. */
export const removeUpload = (device: string): Command =>
  tc('qdisc', 'del', 'dev', device, 'root', 'handle', formatHandle(UPLOAD_MAJOR));
export const removeClsact = (device: string): Command => tc('qdisc', 'del', 'dev', device, 'clsact');
export const removeIfb = (ifb: string): Command => ({ argv: ['ip', 'link', 'del', ifb] });

function downloadOperations({ link, device }: LinkShape, tree: Tree, site: LinkSite): Operation[] {
  const ifb = ifbName(device);
  const alias = formatAlias({ link, device, clsact: !site.ingressHook });
  const operations: Operation[] = [
    {
      about: `add ifb ${ifb}`,
      // One process for both lines: a device of ours is nameless for microseconds only. A queue of the device's
      // own 32 packets would be too short for the direct queue of HTB.
      command: batch('ip', [
        ['link', 'add', 'name', ifb, 'txqueuelen', '1000', 'type', 'ifb'],
        ['link', 'set', 'dev', ifb, 'alias', `"${alias}"`],
      ]),
      undo: removeIfb(ifb),
    },
    { about: `add the tree on ${ifb}`, command: batch('tc', treeCommands(ifb, DOWNLOAD_MAJOR, tree)) },
    { about: `set ${ifb} up`, command: { argv: ['ip', 'link', 'set', ifb, 'up'] } },
  ];
  if (!site.ingressHook)
    operations.push({
      about: `add clsact to ${device}`,
      command: tc('qdisc', 'add', 'dev', device, 'clsact'),
      undo: removeClsact(device),
    });
  operations.push(redirectOperation(device, ifb, site));
  return operations;
}

function uploadOperations(device: string, tree: Tree, site: LinkSite): Operation[] {
  const root = formatHandle(UPLOAD_MAJOR);
  return [
    {
      about: `add the tree on ${device}`,
      command: batch('tc', treeCommands(device, UPLOAD_MAJOR, tree)),
      undo: removeUpload(device),
    },
    {
      about: `classify what leaves ${device}`,
      command: tc(
        'filter',
        'add',
        'dev',
        device,
        'parent',
        root,
        'protocol',
        'all',
        'pref',
        `${FILTER_PREF}`,
        'handle',
        '1',
        'bpf',
        'object-file',
        site.egressObject,
        'section',
        'egress',
      ),
    },
  ];
}

/**
 * What the classifier leaves alone (ARP, neighbour discovery, DHCP) has no class: `default 0` sends it past the
 * queues at once (htb(8): direct), and so does everything when the classifier fails.
 */
function treeCommands(device: string, major: number, tree: Tree): string[][] {
  const root = formatHandle(major);
  const link = formatHandle(major, LINK_MINOR);
  const commands = [
    ['qdisc', 'add', 'dev', device, 'root', 'handle', root, 'htb', 'default', '0'],
    [
      'class',
      'add',
      'dev',
      device,
      'parent',
      root,
      'classid',
      link,
      'htb',
      'rate',
      `${tree.rate}bit`,
      'ceil',
      `${tree.rate}bit`,
      'burst',
      `${burstOf(tree.rate)}b`,
      'cburst',
      `${burstOf(tree.rate)}b`,
      'quantum',
      '60000',
    ],
  ];
  for (const c of tree.classes) {
    const classid = formatHandle(major, c.minor);
    commands.push(
      [
        'class',
        'add',
        'dev',
        device,
        'parent',
        link,
        'classid',
        classid,
        'htb',
        'rate',
        `${c.rate}bit`,
        'ceil',
        `${c.ceil}bit`,
        'burst',
        `${c.burst}b`,
        'cburst',
        `${c.cburst}b`,
        'quantum',
        `${c.quantum}`,
        'prio',
        `${c.prio}`,
      ],
      [
        'qdisc',
        'add',
        'dev',
        device,
        'parent',
        classid,
        'handle',
        formatHandle(LEAF_MAJOR + c.minor),
        ...leafArguments(c.leaf),
      ],
    );
  }
  return commands;
}

function leafArguments(leaf: LeafQdisc): string[] {
  if (leaf.kind === 'bfifo') return ['bfifo', 'limit', `${leaf.limit}`];
  // A new hash every ten seconds, so that two flows that collide do not share for ever (sfq(8)).
  return leaf.kind === 'sfq' ? ['sfq', 'perturb', '10'] : ['fq_codel'];
}

const tc = (...args: string[]): Command => ({ argv: ['tc', ...args] });

/** Many commands for one process. It stops at the first that fails; the operation's undo removes what was done. */
function batch(tool: 'tc' | 'ip', commands: readonly (readonly string[])[]): Command {
  const argv: Argv = [tool, '-batch', '-'];
  return { argv, input: `${commands.map((c) => c.join(' ')).join('\n')}\n` };
}
