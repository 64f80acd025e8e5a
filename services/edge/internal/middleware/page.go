package middleware

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
)

// Page calls serve for a web page that looks after its callers itself: after the
// steps audit and address-limit, as if it were the named method. An error that says
// that somebody is not who they say costs the address as wrong credentials do. ctx
// must carry the visitor's address (clientaddr.NewContext).
func (d *Door) Page(ctx context.Context, method string, serve func(ctx context.Context) error) error {
	_, err := d.page(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		err := serve(ctx)
		if apierr.ReasonOf(err) == apierr.Unauthenticated && d.steps.Config.Address.RequestsPerMinute > 0 {
			limit := d.steps.Config.Address
			if failed := d.steps.AddressLimiter.Charge(ctx, d.steps.network(ctx), limit.FailureCost, limit.limit()); failed != nil {
				return nil, apierr.Wrap(apierr.Internal, failed, "the address limit cannot be judged")
			}
		}
		return nil, err
	})
	return err
}
