package grpcclient

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The parts of gRPC's service config that are used
// (https://github.com/grpc/grpc/blob/master/doc/service_config.md).
type scConfig struct {
	LoadBalancing   []map[string]any `json:"loadBalancingConfig"`
	Methods         []scMethod       `json:"methodConfig,omitempty"`
	RetryThrottling *scThrottling    `json:"retryThrottling,omitempty"`
	Health          *scHealth        `json:"healthCheckConfig,omitempty"`
}

type scMethod struct {
	Names []scName `json:"name"`
	Retry scRetry  `json:"retryPolicy"`
}

type scName struct {
	Service string `json:"service"`
	Method  string `json:"method,omitempty"`
}

type scRetry struct {
	MaxAttempts       int      `json:"maxAttempts"`
	InitialBackoff    string   `json:"initialBackoff"`
	MaxBackoff        string   `json:"maxBackoff"`
	BackoffMultiplier float64  `json:"backoffMultiplier"`
	RetryableCodes    []string `json:"retryableStatusCodes"`
}

type scThrottling struct {
	MaxTokens  float64 `json:"maxTokens"`
	TokenRatio float64 `json:"tokenRatio"`
}

type scHealth struct {
	ServiceName string `json:"serviceName"`
}

func serviceConfig(cfg Config, idempotent []string) (string, error) {
	sc := scConfig{LoadBalancing: []map[string]any{{policyName: cfg.Outlier.policy()}}}
	if cfg.HealthCheck {
		sc.Health = &scHealth{}
	}
	names, err := idempotentMethods(idempotent)
	if err != nil {
		return "", err
	}
	if cfg.Retry.MaxAttempts > 1 && len(names) > 0 {
		sc.Methods = []scMethod{{Names: names, Retry: scRetry{
			MaxAttempts:       cfg.Retry.MaxAttempts,
			InitialBackoff:    seconds(cfg.Retry.BaseBackoff),
			MaxBackoff:        seconds(cfg.Retry.MaxBackoff),
			BackoffMultiplier: 2,
			RetryableCodes:    []string{"UNAVAILABLE"},
		}}}
		sc.RetryThrottling = &scThrottling{MaxTokens: cfg.Retry.BudgetTokens, TokenRatio: cfg.Retry.BudgetRatio}
	}
	b, err := json.Marshal(sc)
	if err != nil {
		return "", fmt.Errorf("grpcclient: service config: %w", err)
	}
	return string(b), nil
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// idempotentMethods lists the methods that may be tried again: those declared
// so in any proto linked into this program, and those given.
func idempotentMethods(given []string) ([]scName, error) {
	seen := make(map[scName]bool)
	var names []scName
	add := func(n scName) {
		if !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if m := s.Methods().Get(j); declaredIdempotent(m) {
					add(scName{string(s.FullName()), string(m.Name())})
				}
			}
		}
		return true
	})
	for _, full := range given {
		service, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
		if service == "" || !strings.HasPrefix(full, "/") {
			return nil, fmt.Errorf("grpcclient: %q is not a method such as /package.Service/Method", full)
		}
		add(scName{service, method})
	}
	return names, nil
}

func declaredIdempotent(m protoreflect.MethodDescriptor) bool {
	opts, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}
