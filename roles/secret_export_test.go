package roles

// Halves of the secrets, for tests from outside.
var (
	EncodeSSHKey = encodeSSHKey
	ReadSSHKey   = readSSHKey
)
