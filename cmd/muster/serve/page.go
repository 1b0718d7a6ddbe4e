package serve

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"muster/roles/api"
	"muster/roles/api/page"
)

// listenOperators opens the operators' address for other machines, where there is one, and tells where the page is.
func (s *server) listenOperators(socks *api.Sockets) error {
	if a := socks.Addr(); a != nil {
		s.log.Info("the page is at http://"+a.String()+page.Root, "token", s.path(TokenFile))
	}
	c := s.Config.API
	if c.Secure == "" {
		return nil
	}
	cert := s.keys.tls
	if c.Certificate != "" {
		var err error
		if cert, err = tls.LoadX509KeyPair(c.Certificate, c.Certificate); err != nil {
			return fmt.Errorf("api.certificate: %w (want certificate and key in PEM, in one file)", err)
		}
	}
	if err := s.api.ListenSecure(socks, c.Secure, cert); err != nil {
		return err
	}
	// A browser that does not know the certificate shows this, and so people can compare.
	s.log.Info("the page is for other machines, too", "https", socks.SecureAddr().String(), "certificate", fmt.Sprintf("%X", sha256.Sum256(cert.Certificate[0])))
	return nil
}
