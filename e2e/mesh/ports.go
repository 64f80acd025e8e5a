package mesh

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/poterne/poterne/e2e/process"
)

// Ports are where the deployment listens, all on 127.0.0.1.
type Ports struct {
	// HTTP and GRPC are NGINX's: what clients use.
	HTTP, GRPC int

	Consul   ConsulPorts
	Redis    int
	Postgres int

	Edge      [2]EdgePorts
	Inference [2]ServicePorts
	Worker    [2]ServicePorts
	Search    ServicePorts
	Registry  ServicePorts
}

// ConsulPorts are a Consul agent's.
type ConsulPorts struct{ HTTP, Server, SerfLAN, SerfWAN int }

// EdgePorts are an edge's.
type EdgePorts struct{ HTTP, GRPC, Ops int }

// ServicePorts are any other service's.
type ServicePorts struct{ GRPC, Ops int }

// FixedPorts are those of `make mesh`, as the documentation names them.
func FixedPorts() Ports {
	return Ports{
		HTTP: 8080, GRPC: 9090,
		Consul: ConsulPorts{HTTP: 8500, Server: 8300, SerfLAN: 8301, SerfWAN: 8302},
		Redis:  6390, Postgres: 5490,
		Edge:      [2]EdgePorts{{8081, 9191, 9100}, {8082, 9192, 9110}},
		Inference: [2]ServicePorts{{9093, 9103}, {9193, 9113}},
		Worker:    [2]ServicePorts{{9094, 9104}, {9194, 9114}},
		Search:    ServicePorts{9092, 9102},
		Registry:  ServicePorts{9091, 9101},
	}
}

// FreePorts asks the system for ports that nobody uses now.
func FreePorts(ctx context.Context) (Ports, error) {
	var p Ports
	wanted := p.all()
	free, err := process.FreePorts(ctx, len(wanted))
	if err != nil {
		return Ports{}, err
	}
	for i, port := range wanted {
		*port = free[i]
	}
	return p, nil
}

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// all returns where each port is kept.
func (p *Ports) all() []*int {
	out := []*int{
		&p.HTTP, &p.GRPC, &p.Consul.HTTP, &p.Consul.Server, &p.Consul.SerfLAN, &p.Consul.SerfWAN,
		&p.Redis, &p.Postgres, &p.Search.GRPC, &p.Search.Ops, &p.Registry.GRPC, &p.Registry.Ops,
	}
	for i := range 2 {
		out = append(out,
			&p.Edge[i].HTTP, &p.Edge[i].GRPC, &p.Edge[i].Ops,
			&p.Inference[i].GRPC, &p.Inference[i].Ops, &p.Worker[i].GRPC, &p.Worker[i].Ops)
	}
	return out
}

// Free reports the ports that another program has: what answers there would be
// taken for what is to be started.
func (p Ports) Free(ctx context.Context) error {
	var taken []int
	var lc net.ListenConfig
	for _, port := range p.all() {
		lis, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(*port)))
		if err != nil {
			taken = append(taken, *port)
			continue
		}
		_ = lis.Close()
	}
	if len(taken) > 0 {
		return fmt.Errorf("other programs listen on these ports, which the mesh needs: %v", taken)
	}
	return nil
}
