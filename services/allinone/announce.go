package allinone

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge"
)

// patience is how long readiness may take before people are told what is
// missing.
const patience = 20 * time.Second

// announce tells people where things are, and, once a chat would be served, how
// to ask for one.
func (p *platform) announce(ctx context.Context) error {
	keyFile := p.dir.join(edge.AdminKeyFile)
	fmt.Fprintf(p.out, "poterne %s\n  data        %s\n  admin key   %s\n  REST        http://%s   (docs at /docs)\n  gRPC        %s\n  ops         http://%s/readyz\n",
		p.version, p.dir.path, keyFile, p.cfg.HTTPAddr, p.cfg.GRPCAddr, p.cfg.OpsAddr)
	if !slices.ContainsFunc(p.brought, isChat) {
		fmt.Fprintf(p.out, "\n%v\n", errNoChatModel)
	}
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
		case <-ready:
			p.showUse(keyFile)
			return nil
		}
	}
}

func isChat(m model) bool { return m.spec.GetTask() == commonv1.Task_TASK_CHAT }

// showUse prints three commands to copy.
func (p *platform) showUse(keyFile string) {
	name := "MODEL"
	if i := slices.IndexFunc(p.brought, isChat); i >= 0 {
		name = p.brought[i].name
	}
	url := "http://" + dialable(p.cfg.HTTPAddr)
	fmt.Fprintf(p.out, `
ready after %[1]v. In another terminal:

  export POTERNE_URL=%[2]s POTERNE_API_KEY=$(cat %[3]s)

  curl -s $POTERNE_URL/v1/models -H "Authorization: Bearer $POTERNE_API_KEY"

  curl -sN $POTERNE_URL/v1/chat/completions -H "Authorization: Bearer $POTERNE_API_KEY" -H 'Content-Type: application/json' -d '{"model":"%[4]s","stream":true,"max_tokens":60,"messages":[{"role":"user","content":"What is a gate?"}]}'

Ctrl-C ends everything.
`, p.clock.Now().Sub(p.began).Round(10*time.Millisecond), url, shellPath(keyFile), name)
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
