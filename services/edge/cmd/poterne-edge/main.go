// Command poterne-edge runs the edge.
package main

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/acmecert"
	"github.com/poterne/poterne/services/edge/internal/filebucket"
	"github.com/poterne/poterne/services/edge/internal/redisconversation"
	"github.com/poterne/poterne/services/edge/internal/redisscript"
	"github.com/poterne/poterne/services/edge/internal/ruleset"
	"github.com/poterne/poterne/services/edge/mcpserver"
)

// version is set when the binary is built.
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(servicecmd.Main(edge.ServiceName, version, edge.DefaultConfig, run))
}

func run(ctx context.Context, cfg *edge.Config) error {
	servicecmd.CalmMonitor()
	if err := telemetry.LogGRPC(edge.ServiceName, version, cfg.Telemetry); err != nil {
		return err
	}
	s, err := edge.New(ctx, *cfg, edge.WithVersion(version), edge.WithRedis(openRedis), edge.WithACME(acmecert.Open),
		edge.WithFirewall(ruleset.Open), edge.WithSharedCache(openSharedCache), edge.WithConversations(openConversations),
		edge.WithMCP(mcpserver.Open), edge.WithFileBucket(filebucket.Open))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func openConversations(c edge.ConversationRedisConfig) edge.ConversationStore {
	return redisconversation.Open(c)
}

func openRedis(c edge.RedisConfig) edge.Scripts {
	return redisscript.Open(redisscript.Options{
		Addrs: c.Servers(), Cluster: c.Cluster, Master: c.Master, Username: c.Username, Password: c.Password.Reveal(), DB: c.DB,
	})
}
