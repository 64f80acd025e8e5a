# One Consul server, for a machine or a small deployment. Larger ones run three
# or five and set bootstrap_expect to match.
datacenter       = "poterne"
server           = true
bootstrap_expect = 1
client_addr      = "127.0.0.1"
bind_addr        = "127.0.0.1"
log_level        = "warn"
disable_update_check = true

ui_config { enabled = false }

# A leader is found within two seconds of a restart instead of ten.
performance { raft_multiplier = 1 }

# Each process asks for what it watches in a request that stays open.
limits { http_max_conns_per_client = 1000 }
