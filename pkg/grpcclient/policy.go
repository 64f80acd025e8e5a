package grpcclient

import (
	"encoding/json"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/serviceconfig"

	"github.com/poterne/poterne/pkg/clock"
)

// policyName is the load balancing policy of every connection: round robin over
// the addresses that are connected and not ejected. gRPC takes policies from a
// registry of the process only, and only before the first connection, which a
// package variable's initialisation is sure to precede.
var policyName = registerPolicy() //nolint:gochecknoglobals // see above

func registerPolicy() string {
	b := policyBuilder{}
	balancer.Register(b)
	return b.Name()
}

// policyConfig is Outlier as JSON; durations are nanoseconds.
type policyConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`
	Outlier
}

func (o Outlier) policy() any { return o }

type policyBuilder struct{}

func (policyBuilder) Name() string { return "poterne_round_robin" }

func (policyBuilder) ParseConfig(raw json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	cfg := new(policyConfig)
	if err := json.Unmarshal(raw, &cfg.Outlier); err != nil {
		return nil, fmt.Errorf("grpcclient: policy: %w", err)
	}
	return cfg, nil
}

func (p policyBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	pickers := &pickerBuilder{ejector: newEjector(Outlier{}, clock.Real().Now), roster: new(roster)}
	inner := base.NewBalancerBuilder(p.Name(), pickers, base.Config{HealthCheck: true})
	return &policy{Balancer: inner.Build(cc, opts), pickers: pickers}
}

// policy passes its configuration to the picker, which base does not.
type policy struct {
	balancer.Balancer
	pickers *pickerBuilder
}

func (p *policy) UpdateClientConnState(s balancer.ClientConnState) error {
	if cfg, ok := s.BalancerConfig.(*policyConfig); ok {
		p.pickers.ejector.configure(cfg.Outlier)
	}
	addrs := make([]string, 0, len(s.ResolverState.Addresses))
	for _, a := range s.ResolverState.Addresses {
		addrs = append(addrs, a.Addr)
	}
	p.pickers.ejector.keep(addrs)
	return p.Balancer.UpdateClientConnState(s)
}

// Close ends what else goes by the addresses.
func (p *policy) Close() {
	p.Balancer.Close()
	p.pickers.roster.close()
}

// ExitIdle connects at once; base does so in any case.
func (p *policy) ExitIdle() { p.Balancer.ExitIdle() }

type pickerBuilder struct {
	ejector *ejector
	roster  *roster
	next    atomic.Uint32 // shared by pickers, so that a new one does not start over
}

func (b *pickerBuilder) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		b.roster.set(nil)
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{ejector: b.ejector, roster: b.roster, next: &b.next}
	for sc, i := range info.ReadySCs {
		p.ready = append(p.ready, endpoint{sc, i.Address.Addr})
	}
	b.roster.set(p)
	return p
}

type endpoint struct {
	conn balancer.SubConn
	addr string
}

type picker struct {
	ejector *ejector
	roster  *roster
	ready   []endpoint
	next    *atomic.Uint32
}

// Pick chooses an address for an ordinary call.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	if d, ok := info.Ctx.Value(directKey{}).(*direct); ok {
		d.meet(p.roster)
	}
	chosen := p.choose()
	return balancer.PickResult{
		SubConn: chosen.conn,
		Done:    func(d balancer.DoneInfo) { p.ejector.report(chosen.addr, d.Err) },
	}, nil
}

// pass gives back the turn that choose took, for a call that did not use it: the ordinary
// call in its place takes one of its own, and every second address would get all of them.
func (p *picker) pass() { p.next.Add(^uint32(0)) }

// choose takes the next address in turn that is not ejected. When all are, it
// takes the next one in turn: a poor chance is better than none.
func (p *picker) choose() endpoint {
	n := uint32(len(p.ready))
	first := p.next.Add(1)
	chosen := p.ready[first%n]
	for i := range n {
		if e := p.ready[(first+i)%n]; p.ejector.usable(e.addr) {
			chosen = e
			break
		}
	}
	return chosen
}
