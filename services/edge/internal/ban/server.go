package ban

import (
	"context"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// defaultPageSize is the contract's.
const defaultPageSize = 50

// Server is edge.v1.BanService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedBanServiceServer

	bans *Manager
}

// NewServer returns a server of m's bans.
func NewServer(m *Manager) *Server { return &Server{bans: m} }

// CreateBan implements edgev1.BanServiceServer.
func (s *Server) CreateBan(ctx context.Context, req *edgev1.CreateBanRequest) (*edgev1.CreateBanResponse, error) {
	network, err := parseNetwork(req.GetNetwork())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("ban " + network.String())
	caller, _ := identity.FromContext(ctx)
	now := s.bans.clock.Now().UTC()
	b := Ban{
		Network: network, Reason: req.GetReason(), By: caller.Subject + "@" + caller.Tenant,
		Since: now, Expire: now.Add(req.GetDuration().AsDuration()),
	}
	if err := s.bans.Put(ctx, b); err != nil {
		return nil, err
	}
	return &edgev1.CreateBanResponse{Ban: message(b)}, nil
}

// ListBans implements edgev1.BanServiceServer. A page goes on behind the network
// that the one before ended with; what began in between may be missed.
func (s *Server) ListBans(_ context.Context, req *edgev1.ListBansRequest) (*edgev1.ListBansResponse, error) {
	list := s.bans.List()
	if token := req.GetPageToken(); token != "" {
		after, err := netip.ParsePrefix(token)
		if err != nil {
			return nil, apierr.Invalid("page_token", "page_token is not one that this method gave")
		}
		for i, b := range list {
			if b.Network == after {
				list = list[i+1:]
				break
			}
		}
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	resp := new(edgev1.ListBansResponse)
	if len(list) > size {
		list = list[:size]
		resp.NextPageToken = list[size-1].Network.String()
	}
	for _, b := range list {
		resp.Bans = append(resp.Bans, message(b))
	}
	return resp, nil
}

// LiftBan implements edgev1.BanServiceServer.
func (s *Server) LiftBan(ctx context.Context, req *edgev1.LiftBanRequest) (*edgev1.LiftBanResponse, error) {
	network, err := parseNetwork(req.GetNetwork())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("ban " + network.String())
	b, err := s.bans.Lift(ctx, network)
	if err != nil {
		return nil, err
	}
	return &edgev1.LiftBanResponse{Ban: message(b)}, nil
}

// The widest networks that can be banned at once.
const (
	widest4 = 16
	widest6 = 32
)

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	invalid := apierr.Invalid("network", "network must be an address, or a network such as 198.51.100.0/24 or 2001:db8:0:1::/64")
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, invalid
		}
		return unit(addr.Unmap()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, invalid
	}
	if p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6 {
		return netip.Prefix{}, apierr.Invalid("network", "network is wider than /%d (IPv4) or /%d (IPv6)", widest4, widest6)
	}
	if p.Addr().Is6() && p.Bits() > 64 {
		return unit(p.Addr()), nil
	}
	return p.Masked(), nil
}

func message(b Ban) *edgev1.Ban {
	network := b.Network.String()
	if b.Network.IsSingleIP() {
		network = b.Network.Addr().String()
	}
	return &edgev1.Ban{
		Network: network, Reason: b.Reason, By: b.By, CreateTime: timestamppb.New(b.Since), ExpireTime: timestamppb.New(b.Expire),
	}
}
