import { checkOverhead } from './check-overhead.ts';
import { readChoice, readDevice, readRate, readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import { didYouMeanOneOf } from './nearest.ts';
import type { LinkPolicy } from './policy.ts';
import { resolveToken, type Scope } from './scope.ts';
import { type Defined, settingsOf, settingValue } from './settings.ts';
import type { LinkSyntax, SettingSyntax } from './syntax.ts';
import { BYPASSES, CONNTRACKS, IFB_PER, REPLACES, TREES } from './vocabulary.ts';

/** Settings that are of the tree, and so of the link whose tree it is. */
const OF_TREE = ['download', 'upload', 'overhead', 'tree', 'numtxqueues', 'ifb', 'replace'] as const;

/** Transmit queues that an ifb may be given. */
const MOST_TXQUEUES = 256;

export function checkLinks(links: readonly Defined<LinkSyntax>[], scope: Scope): LinkPolicy[] {
  const { diagnostics } = scope;
  const devices = new Map<string, string>();
  const sharing = new Map(links.map((link) => [link.name.text, sharesWith(link)]));
  return links.map((link) => {
    const settings = settingsOf(link, scope);
    const read = <T>(key: string, reader: (token: NonNullable<SettingSyntax['value']>) => T | undefined) => {
      const token = settingValue(settings, key);
      const value = token && resolveToken(token, key, scope);
      return value && reader(value);
    };
    const overhead = settings.get('overhead');
    const policy: LinkPolicy = {
      name: link.name.text,
      device: read('device', (token) => readDevice(token, diagnostics)),
      download: read('download', (token) => readRate(token, 'download', diagnostics)),
      upload: read('upload', (token) => readRate(token, 'upload', diagnostics)),
      overhead: overhead && checkOverhead(overhead, scope),
      tree: read('tree', (token) => readChoice(token, 'a tree', TREES, diagnostics)) ?? 'htb',
      numtxqueues: read('numtxqueues', (token) => readTxQueues(token, diagnostics)),
      bypass: read('bypass', (token) =>
        readChoice(token, 'one of the hooks that can be passed by', BYPASSES, diagnostics),
      ),
      replace: read('replace', (token) => readChoice(token, 'what can be replaced', REPLACES, diagnostics)),
      conntrack: read('conntrack', (token) => readChoice(token, 'one of the ways to ask', CONNTRACKS, diagnostics)),
      ifbPer: read('ifb', (token) => readChoice(token, 'what an ifb can be for', IFB_PER, diagnostics)),
      shareTreeWith: checkShare(link.name.text, settings, sharing, scope),
    };
    if (policy.device !== undefined) {
      const owner = devices.get(policy.device);
      if (owner === undefined) devices.set(policy.device, policy.name);
      else
        diagnostics.add('duplicate-device', settingValue(settings, 'device')!, { device: policy.device, link: owner });
    }
    return policy;
  });
}

function readTxQueues(token: Token, diagnostics: Scope['diagnostics']): number | undefined {
  const number = readValue(token, ['number'], 'numtxqueues', 'a number of queues', diagnostics)?.number;
  if (number === undefined || (Number.isInteger(number) && number >= 1 && number <= MOST_TXQUEUES)) return number;
  const fields = { what: 'numtxqueues', range: `a whole number from 1 to ${MOST_TXQUEUES}`, found: token.text };
  diagnostics.add('out-of-range', token, fields);
  return undefined;
}

const sharesWith = (link: LinkSyntax): string | undefined =>
  link.settings?.find(({ key }) => key.text === 'share')?.value?.text;

/** The link whose tree this one uses. */
function checkShare(
  name: string,
  settings: ReadonlyMap<string, SettingSyntax>,
  sharing: ReadonlyMap<string, string | undefined>,
  { diagnostics }: Scope,
): string | undefined {
  const share = settings.get('share');
  if (!share?.value) return undefined;
  const other = share.value.text;
  for (const key of OF_TREE) {
    const setting = settings.get(key);
    if (setting) diagnostics.add('shared-setting', setting, { name, other, setting: key });
  }
  if (!sharing.has(other)) {
    const others = [...sharing.keys()].filter((link) => link !== name);
    diagnostics.add('unknown-link', share.value, { name: other }, () => didYouMeanOneOf(other, others));
    return undefined;
  }
  const further = sharing.get(other);
  if (further === undefined) return other;
  diagnostics.add('shared-share', share.value, { other, further });
  return undefined;
}
