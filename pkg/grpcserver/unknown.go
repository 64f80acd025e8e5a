package grpcserver

import (
	"strconv"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
)

// maxMethodEcho bounds how much of an unknown method's name is said back.
const maxMethodEcho = 128

// unknown answers a call of a method that is not there in the shape of every
// other error, which gRPC's own answer lacks.
func unknown(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	if len(method) > maxMethodEcho {
		method = method[:maxMethodEcho]
	}
	return apierr.New(apierr.Unimplemented, "there is no method %s here", strconv.QuoteToASCII(method))
}

// knownOnly passes calls of unknown methods through the request id and what
// shapes errors alone: the other steps decide or count by method, and a stranger must
// not choose the labels of a metric. gRPC gives such calls no server.
func knownOnly(chain Chain) grpc.StreamServerInterceptor {
	var bare Chain
	for _, s := range chain {
		switch s.Name {
		case NameRecover, NameRequestID, NameErrors:
			bare = append(bare, s)
		}
	}
	all, few := chain.Stream(), bare.Stream()
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if srv == nil {
			return few(srv, ss, info, handler)
		}
		return all(srv, ss, info, handler)
	}
}
