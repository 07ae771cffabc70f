import { HeadgateError, type Rate } from '../model/index.ts';
import { isDeviceName } from './check-value.ts';
import type { LinkPolicy, Policy } from './policy.ts';

export interface LinkOverride {
  readonly device?: string | undefined;
  readonly download?: Rate | undefined;
  readonly upload?: Rate | undefined;
}

/**
 * The policy with what the command line says about its link. With several links the device tells which is meant;
 * a policy without any gets one, named `wan`.
 *
 * @throws HeadgateError HG_DEVICE_NAME; HG_USAGE where there are several links and the device is none of theirs, or not given.
 */
export function overrideLink(policy: Policy, override: LinkOverride): Policy {
  const given = Object.fromEntries(Object.entries(override).filter(([, value]) => value !== undefined));
  if (Object.keys(given).length === 0) return policy;
  if (override.device !== undefined && (!isDeviceName(override.device) || /["'#\\;{}]/.test(override.device)))
    throw new HeadgateError('HG_DEVICE_NAME', { device: override.device });
  const index = policy.links.length < 2 ? 0 : policy.links.findIndex((link) => link.device === override.device);
  if (policy.links.length > 1 && (override.device === undefined || index < 0)) {
    const links = policy.links.map(({ name, device }) => (device === undefined ? name : `${name} (${device})`));
    throw new HeadgateError('HG_USAGE', {
      problem: `the policy has ${links.length} links: ${links.join(', ')}. --device must name the device of the one that --download and --upload are for.`,
      command: 'up',
    });
  }
  const links: LinkPolicy[] = [...policy.links];
  links[index] = Object.freeze({ ...(links[index] ?? { name: 'wan', tree: 'htb' as const }), ...given });
  return Object.freeze({ ...policy, links: Object.freeze(links) });
}
