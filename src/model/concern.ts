/** Something of a box that keeps a policy from doing what it says, or that an admin should know. */
export interface Concern {
  /** Which look found it: a fixed word. */
  readonly check: string;
  /** `problem`: traffic gets past the queues, or `up` refuses. `warning`: it is worse than it could be. `note`: to be known. */
  readonly severity: 'problem' | 'warning' | 'note';
  readonly what: string;
  /** What to do about it. */
  readonly advice: string;
}
