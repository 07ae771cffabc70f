import type { Argv, Command } from '../model/index.ts';
import {
  DOWNLOAD_MAJOR,
  FILTER_PREF,
  formatAlias,
  formatHandle,
  ifbName,
  type Ownership,
  UPLOAD_MAJOR,
  withHook,
} from './names.ts';
import type { Operation } from './operation.ts';
import type { Tree } from './tree.ts';
import { rootMajor, treeCommands } from './tree-commands.ts';

/** What one link of the policy is to become in the kernel. A direction without a tree is left as it is. */
export interface LinkShape {
  readonly link: string;
  readonly device: string;
  readonly download?: Tree | undefined;
  readonly upload?: Tree | undefined;
  /** Transmit queues of the ifb; absent: one. */
  readonly numtxqueues?: number | undefined;
  /** Device of the link whose ifb, and so whose tree, what arrives here goes through. There is no `download` then. */
  readonly shares?: string | undefined;
  /** Devices of the links that share this one's ifb. */
  readonly sharedBy: readonly string[];
}

/** The ifb that what arrives on the link is redirected to; undefined where it is left alone. */
export const ifbOf = ({ device, download, shares }: LinkShape): string | undefined =>
  shares !== undefined ? ifbName(shares) : download && ifbName(device);

/** What building a link needs to know of the machine. */
export interface LinkSite {
  /** Path of the classifier's object, configured for what arrives. */
  readonly ingressObject: string;
  /** The same for what leaves. */
  readonly egressObject: string;
  /** The device has a clsact or ingress qdisc already; it is used, and stays. */
  readonly ingressHook: boolean;
  /** Whose the link's ifb is, where it is there already, up and with its tree: another link shares it. */
  readonly ifb?: Ownership | undefined;
}

/**
 * The operations that build a link's part, in the one safe order: the ifb, its tree and the ifb up before any
 * filter sends packets there. The redirect comes last. Nothing at all for a link that is only looked at.
 */
export function linkOperations(shape: LinkShape, site: LinkSite): Operation[] {
  const ifb = ifbOf(shape);
  return [
    ...(shape.upload ? uploadOperations(shape.device, shape.upload, site) : []),
    ...(ifb === undefined ? [] : downloadOperations(shape, ifb, site)),
  ];
}

/** The redirect alone: put back when the ifb has come up again. */
export function redirectOperation(device: string, ifb: string, site: Pick<LinkSite, 'ingressObject'>): Operation {
  return {
    about: `redirect what arrives on ${device} to ${ifb}`,
    command: tc(
      ...['filter', 'replace', 'dev', device, 'ingress', 'protocol', 'all', 'pref', `${FILTER_PREF}`, 'handle', '1'],
      ...['bpf', 'object-file', site.ingressObject, 'section', 'ingress'],
      ...['action', 'mirred', 'egress', 'redirect', 'dev', ifb],
    ),
    undo: removeRedirect(device),
  };
}

/** Lets arriving packets pass untouched again. */
export const removeRedirect = (device: string): Command =>
  tc('filter', 'del', 'dev', device, 'ingress', 'pref', `${FILTER_PREF}`);
/** Names the handle, so that a root qdisc that somebody else put there since is not removed. */
export const removeUpload = (device: string, major: number): Command =>
  tc('qdisc', 'del', 'dev', device, 'root', 'handle', formatHandle(major));
export const removeClsact = (device: string): Command => tc('qdisc', 'del', 'dev', device, 'clsact');
export const removeIfb = (ifb: string): Command => ({ argv: ['ip', 'link', 'del', ifb] });

function downloadOperations(shape: LinkShape, ifb: string, site: LinkSite): Operation[] {
  const { device, download } = shape;
  const operations: Operation[] = [
    ...(site.ifb
      ? [joinOperation(ifb, site.ifb, shape, site)]
      : download
        ? ifbOperations(shape, ifb, download, site)
        : []),
    // Also where it is there already: redirected to an ifb that is down, every packet is lost.
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

function ifbOperations(
  { link, device, numtxqueues }: LinkShape,
  ifb: string,
  download: Tree,
  site: LinkSite,
): Operation[] {
  const alias = formatAlias({ link, device, clsact: !site.ingressHook, shared: [] });
  const queues = numtxqueues === undefined ? [] : ['numtxqueues', `${numtxqueues}`];
  return [
    {
      about: `add ifb ${ifb}`,
      // One process for both lines: a device of ours is nameless for microseconds only. A queue of the device's
      // own 32 packets would be too short for the direct queue of HTB.
      command: batch('ip', [
        ['link', 'add', 'name', ifb, ...queues, 'txqueuelen', '1000', 'type', 'ifb'],
        ['link', 'set', 'dev', ifb, 'alias', `"${alias}"`],
      ]),
      undo: removeIfb(ifb),
    },
    { about: `add the tree on ${ifb}`, command: batch('tc', treeCommands(ifb, DOWNLOAD_MAJOR, download)) },
  ];
}

/** Writes down that the device leads to the ifb, too, before anything is made there. */
function joinOperation(ifb: string, ownership: Ownership, { device }: LinkShape, site: LinkSite): Operation {
  const setAlias = (o: Ownership): Command => ({ argv: ['ip', 'link', 'set', 'dev', ifb, 'alias', formatAlias(o)] });
  return {
    about: `share ${ifb} with ${device}`,
    command: setAlias(withHook(ownership, { device, clsact: !site.ingressHook })),
    undo: setAlias(ownership),
  };
}

function uploadOperations(device: string, tree: Tree, site: LinkSite): Operation[] {
  return [
    {
      about: `add the tree on ${device}`,
      command: batch('tc', treeCommands(device, UPLOAD_MAJOR, tree)),
      undo: removeUpload(device, rootMajor(tree, UPLOAD_MAJOR)),
    },
    classifyUpload(device, tree, site, 'add'),
  ];
}

/** The classifier of what leaves; it goes with its tree. */
export const classifyUpload = (
  device: string,
  { kind }: Pick<Tree, 'kind'>,
  { egressObject }: Pick<LinkSite, 'egressObject'>,
  verb: 'add' | 'replace',
): Operation => ({
  about: `classify what leaves ${device}`,
  command: tc(
    ...['filter', verb, 'dev', device, 'parent', formatHandle(UPLOAD_MAJOR), 'protocol', 'all'],
    ...['pref', `${FILTER_PREF}`, 'handle', '1', 'bpf', 'object-file', egressObject],
    ...['section', kind === 'cake' ? 'tin' : 'egress'],
  ),
});

const tc = (...args: string[]): Command => ({ argv: ['tc', ...args] });

/** Many commands for one process. It stops at the first that fails, unless told to go on; the operation's undo removes what was done. */
export function batch(tool: 'tc' | 'ip', commands: readonly (readonly string[])[], failed?: 'go on'): Command {
  const argv: Argv = failed ? [tool, '-force', '-batch', '-'] : [tool, '-batch', '-'];
  return { argv, input: `${commands.map((c) => c.join(' ')).join('\n')}\n` };
}
