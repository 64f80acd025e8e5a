package tlsfiles

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// idOf returns the id of an X.509-SVID's leaf, which has to be one: exactly one
// URI among its names, which is a SPIFFE id with a path, and no authority of its
// own (SPIFFE X.509-SVID, sections 2, 4 and 5.2).
func idOf(leaf *x509.Certificate) (spiffeid.ID, error) {
	switch {
	case len(leaf.URIs) == 0:
		return spiffeid.ID{}, errors.New("the certificate has no URI among its names, and so no SPIFFE id")
	case len(leaf.URIs) > 1:
		return spiffeid.ID{}, errors.New("the certificate has more than one URI among its names, and so no SPIFFE id")
	}
	id, err := spiffeid.FromURI(leaf.URIs[0])
	switch {
	case err != nil:
		return spiffeid.ID{}, fmt.Errorf("the certificate's URI is no SPIFFE id: %w", err)
	case id.Path() == "":
		return spiffeid.ID{}, errors.New("the certificate's SPIFFE id names a trust domain, and nobody in it")
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return spiffeid.ID{}, errors.New("the certificate is an authority's")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return spiffeid.ID{}, errors.New("the certificate is not for signing, which a handshake needs")
	}
	return id, nil
}

// allowed is the ids of one allow list.
type allowed struct {
	exact    map[string]bool
	prefixes []string
}

// parseAllowed reads a list of ids; one that ends in /* stands for every id
// below it.
func parseAllowed(list []string) (allowed, error) {
	out := allowed{exact: make(map[string]bool, len(list))}
	for _, s := range list {
		base, wild := strings.CutSuffix(s, "/*")
		id, err := spiffeid.FromString(base)
		switch {
		case err != nil:
			return allowed{}, fmt.Errorf("%q is no SPIFFE id: %w", s, err)
		case wild:
			out.prefixes = append(out.prefixes, id.String()+"/")
		case id.Path() == "":
			return allowed{}, fmt.Errorf("%q names a trust domain, and nobody in it; %s/* is everybody", s, s)
		default:
			out.exact[id.String()] = true
		}
	}
	return out, nil
}

func (a allowed) has(id spiffeid.ID) bool {
	s := id.String()
	if a.exact[s] {
		return true
	}
	for _, p := range a.prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// check returns why whoever shows leaf may not be spoken with.
func (a allowed) check(leaf *x509.Certificate) error {
	id, err := idOf(leaf)
	if err != nil {
		return err
	}
	if !a.has(id) {
		return fmt.Errorf("%s is not among the ids that are allowed here", id)
	}
	return nil
}
