package middleware

import (
	"testing"

	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

func TestConfigProblems(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TrustedProxies = []string{"10.0.0.0/8", "nonsense"}
	cfg.Deadlines.Generate = 0
	cfg.RequestsPerMinute = 0
	cfg.Redis.Addr = "nowhere"
	cfg.Rules = []limitrule.Rule{{Name: "typo", Kind: limitrule.Requests, Amount: 1, Match: limitrule.Match{Routes: []string{"generatee"}}}}
	cfg.Complete()
	var p problems
	cfg.Validate(&p.Problems, "limits")
	for _, path := range []string{"limits.trusted_proxies", "limits.deadlines.generate", "limits.requests_per_minute", "limits.redis.addr", "limits.rules[0].match.routes"} {
		if !p.mentions(path) {
			t.Errorf("nothing is said about %s: %v", path, p.Err())
		}
	}
	var none problems
	DefaultConfig().Validate(&none.Problems, "limits")
	if err := none.Err(); err != nil {
		t.Errorf("the defaults are wrong: %v", err)
	}
}
