import { leadsNowhere } from '../apply/index.ts';
import type { Concern } from '../model/index.ts';
import type { Evidence } from './doctor-evidence.ts';

/** A service that does not answer: nobody opens a redirect in time, nothing live is decided. */
export const checkHung = ({ hung }: Evidence): Concern[] =>
  hung === undefined
    ? []
    : [
        {
          check: 'service-hangs',
          severity: 'problem',
          what: `headgate (pid ${hung}) has the place of the service and does not answer: it hangs, or is just starting`,
          advice: 'headgate down ends it, and removes what is here; then headgate up',
        },
      ];

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
