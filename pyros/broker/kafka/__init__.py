"""The broker's side of Kafka: the topics of GCN, IGWN, SCiMMA and others."""
