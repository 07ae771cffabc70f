/** What the machine at hand serves to rules. Absent: nobody could tell. */
export interface MachineFacts {
  /** Conntrack counts bytes and packets (net.netfilter.nf_conntrack_acct). */
  readonly accounting?: boolean | undefined;
  /** Conntrack notes when a flow began (net.netfilter.nf_conntrack_timestamp). */
  readonly timestamps?: boolean | undefined;
  /** The unified hierarchy of cgroups is mounted (cgroups(7)). */
  readonly cgroups?: boolean | undefined;
  /** systemd runs it (sd_booted(3)). */
  readonly systemd?: boolean | undefined;
  /** Names that no user here has. */
  readonly strangers?: ReadonlySet<string> | undefined;
}
