package allinone

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/inference"
)

// platformTenant is the tenant of the first key.
const platformTenant = "default"

// patience is how long readiness may take before people are told what is
// missing.
const patience = 10 * time.Second

// announce tells people where things are, and, once a chat would be served, how
// to ask for one.
func (p *platform) announce(ctx context.Context) error {
	keyFile := p.dir.join(edge.AdminKeyFile)
	fmt.Fprintf(p.out, "poterne %s\n  data        %s\n  admin key   %s\n  REST        %s://%s   (docs at /docs)\n  gRPC        %s\n  ops         http://%s/readyz\n",
		p.version, p.dir.path, keyFile, p.scheme(), p.cfg.HTTPAddr, p.cfg.GRPCAddr, p.cfg.OpsAddr)
	ready := make(chan struct{}, 1)
	p.readiness.Subscribe(func(now bool) {
		if now {
			select {
			case ready <- struct{}{}:
			default:
			}
		}
	})
	late := p.clock.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-late.C():
			fmt.Fprintf(p.out, "\nnot ready after %v; http://%s/readyz says what is missing\n", patience, p.cfg.OpsAddr)
			if _, known := p.chatModel(ctx); !known {
				fmt.Fprintf(p.out, "\n%v\n", errNoChatModel)
			}
		case <-ready:
			name, _ := p.chatModel(ctx)
			p.showUse(keyFile, name)
			return nil
		}
	}
}

// chatModel is a chat model's name, a ready one's if there is one, and whether
// there is any.
func (p *platform) chatModel(ctx context.Context) (name string, known bool) {
	ctx = identity.NewContext(ctx, identity.Caller{Tenant: platformTenant, Subject: "poterne"})
	client := inferencev1.NewInferenceServiceClient(grpcclient.Intercept(inference.ServiceName, p.inferenceConn, //nolint:contextcheck // its breaker outlives the call
		grpcclient.DefaultConfig(), p.telemetry, grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain()))))
	resp, err := client.ListServedModels(ctx, &inferencev1.ListServedModelsRequest{})
	if err != nil {
		p.telemetry.Logger.WarnContext(ctx, "the models cannot be listed", telemetry.Err(err))
		return "MODEL", true
	}
	for _, m := range resp.GetModels() {
		if m.GetTask() != commonv1.Task_TASK_CHAT {
			continue
		}
		if !known || m.GetState() == inferencev1.ServingState_SERVING_STATE_READY {
			name, known = m.GetName(), true
		}
	}
	return name, known
}

// showUse prints three commands to copy.
func (p *platform) showUse(keyFile, name string) {
	url := p.scheme() + "://" + dialable(p.cfg.HTTPAddr)
	fmt.Fprintf(p.out, `
ready after %[1]v. In another terminal:

  export POTERNE_URL=%[2]s POTERNE_API_KEY=$(cat %[3]s)

  curl -s $POTERNE_URL/v1/models -H "Authorization: Bearer $POTERNE_API_KEY"

  curl -sN $POTERNE_URL/v1/chat/completions -H "Authorization: Bearer $POTERNE_API_KEY" -H 'Content-Type: application/json' -d '{"model":"%[4]s","stream":true,"max_tokens":60,"messages":[{"role":"user","content":"What is a gate?"}]}'

Ctrl-C ends everything.
`, p.clock.Now().Sub(p.began).Round(10*time.Millisecond), url, shellPath(keyFile), name)
}

// scheme is that of REST.
func (p *platform) scheme() string {
	if p.cfg.TLSCert != "" {
		return "https"
	}
	return "http"
}

// dialable is an address to call for one to listen on.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func shellPath(path string) string {
	if filepath.Clean(path) == path && !needsQuotes(path) {
		return path
	}
	return fmt.Sprintf("%q", path)
}

func needsQuotes(s string) bool {
	return slices.ContainsFunc([]rune(s), func(r rune) bool { return r == ' ' || r == '\'' || r == '"' || r == '$' })
}
