package cli

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/signing"
)

// maxKeyBytes bounds a file with a key.
const maxKeyBytes = 64 << 10

func (a *app) modelsKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a key that signs versions, and print its public key", Args: exactArgs("FILE"),
		Long: `Writes a new private key to FILE, for its owner alone, and prints the public key as
signatures.trusted_keys has it in the configuration of the registry, inference and
workers.`,
		RunE: func(_ *cobra.Command, args []string) error {
			private, public, err := signing.Generate()
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("key: %w", err)
			}
			if _, err := f.Write(private); err != nil {
				return errors.Join(fmt.Errorf("key: %w", err), f.Close())
			}
			if err := f.Close(); err != nil {
				return fmt.Errorf("key: %w", err)
			}
			return a.print(map[string]any{"public_key": public, "file": args[0]}, columns("PUBLIC-KEY public_key", "FILE file"))
		},
	}
}

func (a *app) modelsSignCommand() *cobra.Command {
	var file, variant string
	cmd := &cobra.Command{
		Use: "sign MODEL@VERSION --key FILE", Short: "Sign a version or a variant with an Ed25519 key", Args: exactArgs("MODEL@VERSION"),
		Long: `Signs the digest of a version, or of one of its variants, with the private key in FILE
(PEM, PKCS #8; models keygen or openssl genpkey -algorithm ed25519 make one). The key
does not leave this machine. The registry takes signatures of the keys that it
trusts.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("%s needs --key FILE", cmd.CommandPath())
			}
			raw, err := readKey(file)
			if err != nil {
				return err
			}
			key, err := signing.ParsePrivate(raw)
			if err != nil {
				return usagef("--key: %s %w", file, err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := versionOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			digest, _, err := signaturesOf(version, variant)
			if err != nil {
				return err
			}
			body := map[string]any{"variant": variant, "signature": map[string]any{
				"key_id":    signing.KeyID(signing.Public(key)),
				"signature": base64.StdEncoding.EncodeToString(signing.Sign(key, digest)),
			}}
			path := modelPath(fmt.Sprint(version["model"]), "versions", fmt.Sprint(version["digest"])) + ":sign"
			if err := c.call(cmd.Context(), http.MethodPost, path, body, nil); err != nil {
				return err
			}
			return a.print(map[string]any{"digest": digest, "key": signing.KeyID(signing.Public(key))}, columns("DIGEST digest", "KEY key"))
		},
	}
	cmd.Flags().StringVar(&file, "key", "", "the file with the private key")
	cmd.Flags().StringVar(&variant, "variant", "", "the variant to sign; empty for the version itself")
	return cmd
}

func (a *app) modelsVerifyCommand() *cobra.Command {
	var public, variant string
	cmd := &cobra.Command{
		Use: "verify MODEL@VERSION --public-key KEY", Short: "Check that a version or a variant is signed", Args: exactArgs("MODEL@VERSION"),
		Long: `Looks whether the version, or one of its variants, has a signature by the public key:
32 bytes in base64, or a file with it or with a PEM block PUBLIC KEY. Exits with 1
when it has none.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := publicKey(public)
			if err != nil {
				return usagef("--public-key: %w", err)
			}
			policy, err := signing.NewPolicy(signing.Config{Required: true, TrustedKeys: []string{base64.StdEncoding.EncodeToString(key)}})
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := versionOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			digest, signatures, err := signaturesOf(version, variant)
			if err != nil {
				return err
			}
			if err := signing.Check(policy, digest, signatures); err != nil {
				return fmt.Errorf("%s has no signature by the key %s", digest, signing.KeyID(key))
			}
			return a.print(map[string]any{"digest": digest, "key": signing.KeyID(key), "signed": true}, columns("DIGEST digest", "KEY key", "SIGNED signed"))
		},
	}
	cmd.Flags().StringVar(&public, "public-key", "", "the public key, or a file with it")
	cmd.Flags().StringVar(&variant, "variant", "", "the variant; empty for the version itself")
	return cmd
}

// readKey reads a file with a key.
func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyBytes))
}

func publicKey(text string) (ed25519.PublicKey, error) {
	if key, err := signing.ParsePublic(text); err == nil {
		return key, nil
	}
	raw, err := readKey(text)
	if err != nil {
		return nil, errors.New("is neither a public key in base64 nor a file")
	}
	return signing.ParsePublic(string(raw))
}

// digestSignature is a signature as REST has it.
type digestSignature struct {
	key       string
	signature []byte
}

func (s digestSignature) GetKeyId() string     { return s.key }
func (s digestSignature) GetSignature() []byte { return s.signature }

// signaturesOf returns the digest of a version, or of its variant, and the
// signatures over it.
func signaturesOf(version map[string]any, variant string) (digest string, out []digestSignature, err error) {
	of := any(version)
	if variant != "" && variant != baseVariant {
		of = nil
		for _, v := range variantsOf(version) {
			if lookup(v, "name") == variant {
				of = v
			}
		}
		if of == nil {
			return "", nil, usagef("the version has no variant %s", variant)
		}
	}
	list, _ := lookup(of, "signatures").([]any)
	for _, s := range list {
		raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(lookup(s, "signature")))
		if err == nil {
			out = append(out, digestSignature{fmt.Sprint(lookup(s, "key_id")), raw})
		}
	}
	return fmt.Sprint(lookup(of, "digest")), out, nil
}
