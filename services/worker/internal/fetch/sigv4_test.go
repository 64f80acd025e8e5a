package fetch

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The vectors that AWS publishes: the signature test suite (get-vanilla and
// others, of service "service"), and the examples of S3's documentation
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
func TestPublishedSignatures(t *testing.T) {
	suite := signer{
		accessKeyID: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region: "us-east-1", service: "service",
	}
	docs := signer{
		accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1", service: "s3",
	}
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	docsAt := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		signer    signer
		at        time.Time
		url       string
		header    http.Header
		names     string
		signature string
	}{
		"get-vanilla": {
			suite, at, "https://example.amazonaws.com/", nil,
			"host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		"get-vanilla-query-order-key-case": {
			suite, at, "https://example.amazonaws.com/?Param2=value2&Param1=value1", nil,
			"host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		"S3: GET Object": {
			docs, docsAt, "https://examplebucket.s3.amazonaws.com/test.txt",
			http.Header{"Range": {"bytes=0-9"}},
			"host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		"S3: GET Bucket Lifecycle": {
			docs, docsAt, "https://examplebucket.s3.amazonaws.com/?lifecycle", nil,
			"host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		"S3: Get Bucket (List Objects)": {
			docs, docsAt, "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", nil,
			"host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	}
	for name, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{Method: http.MethodGet, URL: u, Header: tt.header}
		if req.Header == nil {
			req.Header = make(http.Header)
		}
		tt.signer.sign(req, tt.at)
		got := req.Header.Get("Authorization")
		if !strings.HasSuffix(got, ", Signature="+tt.signature) || !strings.Contains(got, "SignedHeaders="+tt.names+",") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAWSEscape(t *testing.T) {
	if got := awsEscape("/a b+c/é~$*'()@", true); got != "/a%20b%2Bc/%C3%A9~%24%2A%27%28%29%40" {
		t.Errorf("path: %s", got)
	}
	if got := awsEscape("a/b=c", false); got != "a%2Fb%3Dc" {
		t.Errorf("query: %s", got)
	}
}
