BEGIN TRANSACTION;
CREATE TABLE destinations (agent TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "destinations" VALUES('c',2);
CREATE TABLE failed (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, sender TEXT NOT NULL,
    sent REAL NOT NULL, taken REAL NOT NULL, payload BLOB NOT NULL, error TEXT);
INSERT INTO "failed" VALUES(2,'b-2','Close','b',1774000001.0,1774000001.125,X'7B7D','Traceback: it is stuck');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch','epoch-of-a');
INSERT INTO "meta" VALUES('file','3402694');
INSERT INTO "meta" VALUES('format','2');
CREATE TABLE outbox (
    agent TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, sent REAL NOT NULL,
    payload BLOB NOT NULL, refused TEXT, PRIMARY KEY (agent, seq)) WITHOUT ROWID;
INSERT INTO "outbox" VALUES('c',2,'a-2','Go',1774000003.5,X'7B226E223A327D',NULL);
CREATE TABLE peers (
    name TEXT NOT NULL, epoch TEXT NOT NULL, last_seq INTEGER NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (name, epoch)) WITHOUT ROWID;
INSERT INTO "peers" VALUES('b','epoch-of-b',4,1774000004.5);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL);
INSERT INTO "state" VALUES(1,X'7B22636F756E74223A337D');
CREATE TABLE timers (number INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, name TEXT NOT NULL, payload BLOB);
INSERT INTO "timers" VALUES(1,1774000100.0,'Wake',X'7B7D');
CREATE TABLE turns (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, messages TEXT NOT NULL);
INSERT INTO "turns" VALUES(3,1,'[["b-1","Weather safe","b",1774000000.25,1774000000.5,"{\"reason\":\"étoile\"}"],null,["b-3","Open","b",1774000002.0,1774000002.123456,"{\"for\":1}"]]');
INSERT INTO "turns" VALUES(4,4,'[["b-4","Open","b",1774000004.0,1774000004.5,"{}"]]');
CREATE TABLE unconfirmed (agent TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "unconfirmed" VALUES('c',0);
CREATE VIEW received AS
    SELECT turns.first + one.key AS number, one.value ->> 0 AS id, one.value ->> 1 AS name, one.value ->> 2 AS sender,
        one.value ->> 3 AS sent, one.value ->> 4 AS taken, CAST(one.value ->> 5 AS BLOB) AS payload, NULL AS error,
        turns.last AS turn
    FROM turns, json_each(turns.messages) AS one WHERE one.type = 'array'
    UNION ALL SELECT number, id, name, sender, sent, taken, payload, error, number FROM failed;
CREATE INDEX failed_standing ON failed (number) WHERE error IS NOT NULL;
CREATE INDEX outbox_refused ON outbox (agent, seq) WHERE refused IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('timers',1);
COMMIT;
