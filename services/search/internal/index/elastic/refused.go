package elastic

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/poterne/poterne/services/search/internal/index"
)

// explained adds to an error what an operator has to mend, where that can be
// told.
func explained(err error) error {
	if why := refusal(err); why != "" {
		return &index.RefusedError{Why: why, Err: err}
	}
	return err
}

func refusal(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "elasticsearch's certificate is for another name than that in index.elasticsearch.addresses"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "elasticsearch's certificate is not trusted: it is not of the authority in index.elasticsearch.ca_file, or has ended"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "elasticsearch does not speak TLS at that address: index.elasticsearch.addresses says https"
	}
	switch {
	case isStatus(err, http.StatusUnauthorized):
		return "elasticsearch does not take the credentials: look at index.elasticsearch.username and password, or api_key"
	case isStatus(err, http.StatusForbidden):
		return "elasticsearch does not let this user do that: it needs manage, read and write on the indexes that begin with index.elasticsearch.prefix"
	default:
		return ""
	}
}
