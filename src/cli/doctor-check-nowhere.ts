import { leadsNowhere } from '../apply/index.ts';
import type { Concern } from '../model/index.ts';
import type { Evidence } from './doctor-evidence.ts';

/** Redirects of ours that nobody watches any more, and that lead to nowhere. */
export const checkNowhere = ({ scene }: Evidence): Concern[] =>
  scene.devices.flatMap(({ name }) =>
    leadsNowhere(scene, name)
      ? [
          {
            check: 'redirect-to-nowhere',
            severity: 'problem',
            what: `what arrives on ${name} is redirected by us to an ifb that is down or gone, and lost`,
            advice: 'headgate recover puts that right, and headgate up begins anew',
          } as const,
        ]
      : [],
  );
