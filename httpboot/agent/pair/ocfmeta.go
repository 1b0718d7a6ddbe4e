package pair

// ocfMetadata describes the resource agent (OCF Resource Agent API 1.1, §Metadata). The times are for a machine
// under load; a failover takes seconds.
const ocfMetadata = `<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="storage" version="1.0">
<version>1.1</version>
<longdesc lang="en">
What the active half of a storage pair serves: the replicated volume, the kernel's NFS server and the floating address.
It is configured by /etc/muster/pair.json and by what is on the volume.
</longdesc>
<shortdesc lang="en">Volume, NFS and floating address of a storage pair</shortdesc>
<parameters/>
<actions>
<action name="start" timeout="120s"/>
<action name="stop" timeout="60s"/>
<action name="monitor" timeout="40s" interval="10s" depth="0"/>
<action name="meta-data" timeout="5s"/>
<action name="validate-all" timeout="20s"/>
</actions>
</resource-agent>
`
