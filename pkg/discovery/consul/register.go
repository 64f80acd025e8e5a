//go:build !embedded

package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
)

// callTimeout bounds one short call to the agent.
const callTimeout = 5 * time.Second

// keeper holds what keeps each registration known.
type keeper struct {
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *keeper) init() { k.kept = make(map[string]*kept) }

// replace puts next in place of what keeps the ID, and ends that.
func (k *keeper) replace(id string, next *kept) {
	k.mu.Lock()
	old := k.kept[id]
	if next == nil {
		delete(k.kept, id)
	} else {
		k.kept[id] = next
	}
	k.mu.Unlock()
	if old != nil {
		old.cancel()
		<-old.done
	}
}

// Register makes the instance known with a TTL check and keeps it known: it
// reports at a third of the TTL, and registers again when Consul has lost it.
func (c *Consul) Register(ctx context.Context, r discovery.Registration) error {
	if err := r.Validate(); err != nil {
		return err
	}
	service, err := c.service(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &kept{cancel: cancel, done: make(chan struct{})}
	c.keeper.replace(r.ID, k)
	err = c.register(ctx, service)
	go func() {
		defer close(k.done)
		c.keep(ctx, service, err == nil)
	}()
	return err
}

func (c *Consul) service(r discovery.Registration) (*api.AgentServiceRegistration, error) {
	host, portText, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("consul: the port of %q is not a number", r.Addr)
	}
	ttl, expire := r.TTL, r.ExpireAfter
	if ttl <= 0 {
		ttl = c.cfg.TTL
	}
	if expire <= 0 {
		expire = c.cfg.ExpireAfter
	}
	return &api.AgentServiceRegistration{
		ID: r.ID, Name: c.cfg.Prefix + r.Service, Address: host, Port: port, Meta: r.Meta,
		Check: &api.AgentServiceCheck{
			CheckID: checkID(r.ID), TTL: ttl.String(), Status: api.HealthPassing,
			DeregisterCriticalServiceAfter: expire.String(),
		},
	}, nil
}

func checkID(id string) string { return "ttl:" + id }

func (c *Consul) register(ctx context.Context, s *api.AgentServiceRegistration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := c.client.Agent().ServiceRegisterOpts(s, opts); err != nil {
		return fmt.Errorf("consul: register %s: %w", s.ID, err)
	}
	return nil
}

func (c *Consul) report(ctx context.Context, s *api.AgentServiceRegistration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	opts := (&api.QueryOptions{}).WithContext(ctx)
	return c.client.Agent().UpdateTTLOpts(checkID(s.ID), "", api.HealthPassing, opts)
}

// keep reports until ctx ends. A report that the agent refuses may mean that it
// has forgotten the service, so the service is registered again.
func (c *Consul) keep(ctx context.Context, s *api.AgentServiceRegistration, known bool) {
	ttl, err := time.ParseDuration(s.Check.TTL)
	if err != nil {
		ttl = c.cfg.TTL
	}
	failures := 0
	if !known {
		failures = 1
	}
	for {
		wait := ttl / 3
		if failures > 0 {
			wait = min(wait, c.backoff(failures))
		}
		if clock.Sleep(ctx, c.clock, wait) != nil {
			return
		}
		err := c.renew(ctx, s, failures == 0)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failures > 0:
			c.log.InfoContext(ctx, "registered again", slog.String("instance", s.ID))
			failures = 0
		case err != nil:
			failures++
			c.log.WarnContext(ctx, "registration not renewed", slog.String("instance", s.ID),
				slog.Int("failures", failures), slog.Any("error", err))
		}
	}
}

// renew reports, and registers when the agent does not know the service or it
// was not reached before.
func (c *Consul) renew(ctx context.Context, s *api.AgentServiceRegistration, known bool) error {
	if known {
		err := c.report(ctx, s)
		if err == nil {
			return nil
		}
		if _, ok := errors.AsType[api.StatusError](err); !ok {
			return fmt.Errorf("consul: report %s: %w", s.ID, err)
		}
		c.log.WarnContext(ctx, "the registration was lost", slog.String("instance", s.ID))
	}
	return c.register(ctx, s)
}

// Deregister removes the instance from Consul.
func (c *Consul) Deregister(ctx context.Context, _, id string) error {
	c.keeper.replace(id, nil)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := c.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
	var refused api.StatusError
	if errors.As(err, &refused) && refused.Code == 404 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("consul: deregister %s: %w", id, err)
	}
	return nil
}
