package grpcserver

import (
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
)

// LazyValidator returns a validator that is made with the first message, which takes some
// 20 ms and half a megabyte that a process that nobody asks does not need. It is safe for
// concurrent use.
func LazyValidator() protovalidate.Validator {
	return lazyValidator{sync.OnceValues(func() (protovalidate.Validator, error) { return protovalidate.New() })}
}

type lazyValidator struct {
	made func() (protovalidate.Validator, error)
}

func (l lazyValidator) Validate(m proto.Message, options ...protovalidate.ValidationOption) error {
	v, err := l.made()
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the validation rules cannot be compiled")
	}
	return v.Validate(m, options...)
}
