/** The commented files that `farshore init` writes. A test reads each with the parser that will read it. */
export const examples: Readonly<Record<string, string>> = {
  "vpg.toml": `# A virtual protection group: the VMs that are recovered together, as of one instant.
# farshore vpg create vpg.toml

name = "shop"
protected_site = "paris"            # label of where the VMs run now
source_gateway = "paris-gw"         # farshore token create --role gateway --name paris-gw; has the disks of each VM that names no other
recovery_gateway = "berlin-gw"      # exports recovered volumes and boots the VMs there
compute = "gateway"                 # or "none": journal only, failovers are refused

target_rpo = "15s"                  # an alert threshold, as in the field; checkpoints come at their own interval
checkpoint_interval = "5s"          # 1s is possible and costs about five times as many requests
history = "24h"                     # bounds the tiers of [retention], which thin older checkpoints

[[vm]]
name = "db"
boot_group = 1                      # group 1 boots first
# source_gateway = "paris-gw-2"     # where the VM's disks are on another gateway than the VPG's own

  [[vm.volume]]
  name = "data"
  size = "64MiB"                    # exactly the size of the disk
  sector = 512                      # or 4096

  [[vm.volume]]
  name = "log"
  size = "64MiB"

# [[boot_group]]                    # wait after a group before the next boots
# number = 1
# delay = "30s"

[retention]
tiers = [                           # the last checkpoint of every so much time, for those not older than that
  { every = "0s", for = "1h" },     # 0s is every checkpoint
  { every = "1m", for = "24h" },
  { every = "1h", for = "30d" },
]
tagged = "30d"                      # tagged checkpoints are not thinned
# journal_limit = "500GiB"
# at_limit = "thin"                 # or "shorten" the history, or "pause": nothing more is journaled, guests go on

# [scrub]
# journal_rate = "1MB/s"            # at which the journal is read back and checked; left out: all of it in 30 days, "0": never

[trigger]                           # what happens when the source is silent (docs/triggers.md)
policy = "notify"                   # off, notify, approve (an approver says yes), automatic
minimum_duration = "5m"             # silence that this site itself saw, without a break
# cool_down = "1h"                  # after an incident, before the next
# approval_expiry = "4h"
# priority = 50                     # 1 starts first when a whole site is failed over
# depends_on = []                   # VPGs that must be up before this one
# confirm_by = []                   # sources of events that spare the rest of minimum_duration
# alarms = []                       # CloudWatch alarms that raise suspicion
# regions = []                      # AWS regions of the source, for AWS Health
# automatic needs one of the two, for a source that is only cut off goes on serving its VMs:
# self_fence = true                 # its gateway has on_fenced = "read-only" or "stop", start_without_grant = "never"
# accept_two_copies = "why it can be borne that two copies run"
# shutdown = "none"                 # or "force", with grace = "2m"
# commit_policy = "none"            # or "commit", "rollback", with commit_after = "1h"
`,
  "source-gateway.toml": `# The gateway at the protected site: VMs write to its NBD exports, it writes to the disks below and replicates.
# FARSHORE_TOKEN=... farshore gateway run --config source-gateway.toml

site = "http://127.0.0.1:7700"      # the recovery site; https for any other machine
token_file = "source-gateway.token" # or the environment variable FARSHORE_TOKEN
# auth = "iam"                      # in place of a token: signs with AWS credentials, as a site on AWS asks (docs/aws.md)
# region = "eu-central-1"           # to sign for, when the site's URL does not say it
state = "source-state"              # one directory per gateway, never copied

[source]
vpg = "shop"
socket = "run/shop.sock"            # nbd+unix:///shop/db/data?socket=run/shop.sock
# listen = "127.0.0.1:10809"        # loopback TCP, as well or instead
# barrier_listen = "10.0.0.5:7710"   # a VPG on several gateways: here on its own source gateway,
# barrier_connect = "10.0.0.5:7710"  # and instead on each of the others; on both
# barrier_key_file = "barrier.key"   # the same file everywhere: openssl rand -hex 32 > barrier.key
# scrub_rate = "8MiB"               # bytes a second at which idle disks are compared with the journal, all of them in 30 days; "0": never
# throttle_time_zone = "Europe/Paris" # of the hours of [[source.throttle]] below; UTC unless it says otherwise
buffer = "256MiB"                   # what may wait in memory for a slow link; past it changes are only tracked
start_without_grant = "never"       # or "after 10m", "always": may it serve when the recovery site is silent?
on_fenced = "read-only"             # or "stop", "continue": what it does once the recovery site has taken over

[[source.volume]]
vm = "db"
name = "data"
path = "disks/db-data.img"          # a file or a block device
sector = 512

[[source.volume]]
vm = "db"
name = "log"
path = "disks/db-log.img"

# [[source.throttle]]               # ships no faster in these hours; guests are never slowed, but the RPO grows
# from = "08:00"
# to = "18:00"                      # past midnight if it is the earlier one
# rate = "20MB/s"
# days = ["mon", "tue", "wed", "thu", "fri"]

# [hooks.db]                        # argument lists, never a shell line; used by --shutdown graceful and force
# shutdown = ["virsh", "shutdown", "db"]
# kill = ["virsh", "destroy", "db"]
# remove = ["virsh", "undefine", "db"]   # after a move that was asked to remove the source; add --remove-all-storage for its disks too
# boot = ["virsh", "start", "db"]
# status = ["sh", "-c", "virsh domstate db | grep -q running"]   # exit status 0 runs, 1 to 3 does not
`,
  "recovery-gateway.toml": `# The gateway at the recovery site: exports recovered checkpoints over NBD and boots the VMs on them.
# FARSHORE_TOKEN=... farshore gateway run --config recovery-gateway.toml

site = "http://127.0.0.1:7700"
token_file = "recovery-gateway.token"
# auth = "iam"                      # in place of a token: signs with AWS credentials, as a site on AWS asks (docs/aws.md)
# region = "eu-central-1"           # to sign for, when the site's URL does not say it
state = "recovery-state"

[recovery]
directory = "recovered"             # sockets, scratch, and the local disks that a commit fills
# preseed = "/mnt/shipped"          # copies of disks, for "farshore vpg preseed"; nothing outside of this folder is read

# [source]                          # after a failover: captures the promoted disks and replicates them to the other site
# site = "http://127.0.0.1:7701"    # [recovery] may name its own site in the same way, at the gateway that is the source now
# token_file = "there.token"        # this gateway's token at that site

# A boot hook must refuse a second start, as virsh does: after a crash of the gateway it may be run again.
# [hooks.db]                        # FARSHORE_DISK_DATA, FARSHORE_DISK_LOG hold the NBD URIs; FARSHORE_MODE is live or test
# boot = ["./boot-db.sh"]
# shutdown = ["virsh", "shutdown", "db"]
# status = ["sh", "-c", "virsh domstate db | grep -q running"]
`,
};
